/*
 * What Android's C library (bionic, 64-bit) lays out otherwise than musl, whose headers android-cc
 * compiles SQLite with. Without this file the program links, and then writes 8 bytes into 4 and
 * asks the system for the wrong value.
 *
 * It is checked twice: the assertions below fail the compilation, and a file compiled without this
 * one asks for `__errno_location`, which is not in bionic-api24.txt, so the link fails.
 */
#ifndef SAKSHI_ANDROID_ABI_H
#define SAKSHI_ANDROID_ABI_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* musl: 4 bytes. bionic: a long. */
#define pthread_mutexattr_t musl_pthread_mutexattr_t
#include <pthread.h>
#undef pthread_mutexattr_t
#define pthread_mutexattr_t long

/* musl numbers the questions to sysconf otherwise; SQLite asks this one. */
#include <unistd.h>
#undef _SC_PAGESIZE
#define _SC_PAGESIZE 0x27
#undef _SC_PAGE_SIZE
#define _SC_PAGE_SIZE 0x28

/* Where errno lies. */
#include <errno.h>
#undef errno
#define errno (*__errno())
int *__errno(void);

/* musl's macro calls functions of musl. */
#include <math.h>
#undef isnan
#define isnan(x) __builtin_isnan(x)

/* The sizes of bionic, API 24, 64-bit. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
_Static_assert(sizeof(pthread_mutexattr_t) == 8, "pthread_mutexattr_t as in bionic");
_Static_assert(sizeof(pthread_mutex_t) == 40, "pthread_mutex_t as in bionic");
_Static_assert(sizeof(struct stat) == 128, "struct stat as in bionic");
_Static_assert(sizeof(struct flock) == 32, "struct flock as in bionic");
_Static_assert(sizeof(struct tm) == 56, "struct tm as in bionic");
_Static_assert(sizeof(off_t) == 8, "off_t as in bionic");
_Static_assert(_SC_PAGESIZE == 39, "_SC_PAGESIZE as in bionic");
_Static_assert(PTHREAD_MUTEX_RECURSIVE == 1, "PTHREAD_MUTEX_RECURSIVE as in bionic");

#endif
