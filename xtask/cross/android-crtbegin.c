/*
 * How a program begins under bionic, where there is no NDK to bring crtbegin_dynamic.o: the kernel
 * leaves the argument block on the stack; bionic's __libc_init takes it and calls main.
 */
typedef void (*function)(void);

/* Lists of functions to be run before and after main. The dynamic linker has run them already,
   so ours are empty. */
struct structors {
    function *preinit;
    function *init;
    function *fini;
};

extern int main(int, char **, char **);
extern void __libc_init(void *arguments, void (*on_exit)(void), int (*)(int, char **, char **),
                        const struct structors *);

__attribute__((used, noreturn)) static void start(void *arguments) {
    static const function none[1] = {0};
    const struct structors structors = {(function *)none, (function *)none, (function *)none};
    __libc_init(arguments, 0, main, &structors);
    __builtin_trap();
}

__asm__(".globl _start\n"
        ".type _start,%function\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    b start\n");
