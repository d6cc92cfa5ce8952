/* An ONNX Runtime whose device is lost at the first run: the real one (REAL), with two entries of its table of
 * functions replaced. `Run` fails as CUDA's provider does (MESSAGE), and closing a session after that aborts, as CUDA's
 * provider does too (microsoft/onnxruntime#2963). The table's order is the ABI: entries are only ever appended. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CREATE_STATUS = 0, RUN = 9, RELEASE_SESSION = 95, FAIL = 1 };

typedef struct {
    void **(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} api_base;

typedef void *(*create_status)(int code, const char *message);

static const api_base *real;
static void **table;
static void (*release_session)(void *session);
static volatile int lost;

static void *run(void) {
    lost = 1;
    return ((create_status)table[CREATE_STATUS])(FAIL, MESSAGE);
}

static void close_session(void *session) {
    if (lost) {
        abort();
    }
    release_session(session);
}

static void replace(int entry, void *function) {
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t page = (uintptr_t)&table[entry] & ~(size - 1);
    if (mprotect((void *)page, size, PROT_READ | PROT_WRITE) != 0) {
        abort();
    }
    table[entry] = function;
}

static void **get_api(uint32_t version) {
    if (table == NULL && (table = real->get_api(version)) != NULL) {
        release_session = (void (*)(void *))table[RELEASE_SESSION];
        replace(RUN, (void *)run);
        replace(RELEASE_SESSION, (void *)close_session);
    }
    return table;
}

const api_base *OrtGetApiBase(void) {
    static api_base ours;
    void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return NULL;
    }
    real = ((const api_base *(*)(void))dlsym(library, "OrtGetApiBase"))();
    ours = (api_base){get_api, real->get_version};
    return &ours;
}
