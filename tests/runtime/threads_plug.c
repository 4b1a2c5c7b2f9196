/* A list that grows by one at each turn; MORE: fields that its items get. */
#include "threads.h"
#ifndef MORE
#define MORE
#endif

struct item {
    MORE int value;
    struct item *next;
};

HR_STATE(plug, plug_state)

int plug_turn(plug_state *state)
{
    struct item *made = hr_new(struct item, 1), *each;
    int sum = 0;
    if (made) {
        made->value = ++state->count;
        made->next = state->first;
        state->first = made;
    }
    for (each = state->first; each; each = each->next) sum += each->value;
    each = hr_new(struct item, 3);
    hr_free(each);
    hr_free(NULL);
    return sum;
}
