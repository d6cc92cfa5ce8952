/* A kernel that grants this process no inotify instance: all others are taken. */
#include <errno.h>

int inotify_init1(int flags) {
    (void)flags;
    errno = EMFILE;
    return -1;
}
