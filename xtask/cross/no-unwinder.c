/*
 * Stands in for libunwind where no toolchain brings one for the target. The phone's profile ends
 * the process at a panic, so nobody unwinds; only the printing of a backtrace asks, and is told
 * that there is nothing to see.
 */
struct context;

enum { END_OF_STACK = 5 };

int _Unwind_Backtrace(void *each, void *argument) {
    (void)each, (void)argument;
    return END_OF_STACK;
}

unsigned long _Unwind_GetIP(struct context *c) {
    (void)c;
    return 0;
}

unsigned long _Unwind_GetIPInfo(struct context *c, int *before) {
    (void)c;
    *before = 0;
    return 0;
}

unsigned long _Unwind_GetCFA(struct context *c) {
    (void)c;
    return 0;
}

unsigned long _Unwind_GetRegionStart(struct context *c) {
    (void)c;
    return 0;
}

unsigned long _Unwind_GetTextRelBase(struct context *c) {
    (void)c;
    return 0;
}

unsigned long _Unwind_GetDataRelBase(struct context *c) {
    (void)c;
    return 0;
}

void *_Unwind_GetLanguageSpecificData(struct context *c) {
    (void)c;
    return 0;
}

void *_Unwind_FindEnclosingFunction(void *address) {
    (void)address;
    return 0;
}

void _Unwind_SetGR(struct context *c, int number, unsigned long value) {
    (void)c, (void)number, (void)value;
}

void _Unwind_SetIP(struct context *c, unsigned long value) {
    (void)c, (void)value;
}

int _Unwind_RaiseException(void *exception) {
    (void)exception;
    __builtin_trap();
}

void _Unwind_Resume(void *exception) {
    (void)exception;
    __builtin_trap();
}

void _Unwind_DeleteException(void *exception) {
    (void)exception;
}
