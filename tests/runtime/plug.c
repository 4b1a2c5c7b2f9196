/* Knows its own number, the four bytes of MARK, which tests replace in the file to make a generation without a compiler.
   WITHOUT_CALLS, WITHOUT_NUMBER: functions of the list are missing. UNDEFINED: calls what nobody has. INITIAL: the state
   begins with calls = INITIAL. STATELESS: no HR_STATE. */
#include "plug.h"

#define MARK 0x5EED0001

#ifdef __cplusplus
extern "C" {
#endif
int number_function(void);
int nowhere(void);
extern volatile int number_variable;
#ifdef __cplusplus
}
#endif

volatile int number_variable = MARK;
static const volatile int number_constant = MARK;

#if defined(INITIAL)
static const plug_state initial = {INITIAL};
HR_STATE_INIT(plug, plug_state, initial)
#elif !defined(STATELESS)
HR_STATE(plug, plug_state)
#endif

int number_function(void) { return number_constant; }

#ifndef WITHOUT_NUMBER
/* -1: a call or a variable was bound to another generation. */
int plug_number(plug_state *state)
{
    state->calls++;
    return number_function() == number_constant && number_variable == number_constant ? number_constant : -1;
}
#endif

#ifndef WITHOUT_CALLS
unsigned plug_calls(const plug_state *state) { return state->calls; }
#endif

int plug_undefined(void)
{
#ifdef UNDEFINED
    return nowhere();
#else
    return 0;
#endif
}
