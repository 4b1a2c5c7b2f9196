/* Two plugins in one process: after each line on standard input both are polled and called. */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <stdio.h>

#include "other.h"
#include "plug.h"

HR_TABLE(plug, PLUG_FUNCTIONS)
HR_TABLE(other, OTHER_FUNCTIONS)

int main(void)
{
    hr_host *first, *second;
    hr_desc plug_desc = HR_DESC(plug, NULL);
    hr_desc other_desc = HR_DESC(other, "$ORIGIN/libother.so");
    hr_result one = hr_open(&first, &plug_desc);
    hr_result two = hr_open(&second, &other_desc);
    int byte;
    while ((byte = getchar()) != EOF) {
        if (byte != '\n') continue;
        one = hr_poll(first);
        two = hr_poll(second);
        printf("two %u %d %u %.0f\n", one.generation, one.generation ? plug.plug_number((plug_state *)one.state) : 0,
               two.generation, two.generation ? other.other_add((other_state *)two.state, 1) : 0);
        fflush(stdout);
    }
    hr_close(first);
    hr_close(second);
    return 0;
}
