/* A stand-in for libcuda.so.1 (and, in other builds, for cuBLAS and cuRAND) with the faults that real ones have.
   The fault is chosen by -DFAULT_..., so that each test has a file of its own. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION 12080
#endif
#ifndef CARDS
#define CARDS 2
#endif

int cuInit(unsigned flags) {
  (void)flags;
#if defined(FAULT_NO_CARD)
  return 100;
#elif defined(FAULT_ERROR)
  return 999;
#elif defined(FAULT_ABORT)
  abort();
#elif defined(FAULT_SEGFAULT)
  *(volatile int *)0 = 1;
  return 0;
#elif defined(FAULT_HANG)
  for (;;) sleep(1);
#elif defined(FAULT_EXIT)
  _exit(0);
#else
  return 0;
#endif
}

#ifndef FAULT_SYMBOLS
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = CARDS; return 0; }
int cuDeviceGet(int *device, int index) { *device = index + 40; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
  strncpy(name, device == 40 ? "Stub Card A" : "Stub Card B", (size_t)length);
  return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device == 40 ? (size_t)8 << 30 : (size_t)24 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? (device == 40 ? 8 : 9) : attribute == 76 ? (device == 40 ? 6 : 0) : -1;
  return 0;
}
int cuDeviceGetUuid(unsigned char *uuid, int device) {
  for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(i + (device == 40 ? 0 : 0xf0));
  return 0;
}
int cuGetErrorName(int code, const char **name) { *name = code == 999 ? "CUDA_ERROR_UNKNOWN" : "CUDA_ERROR_OTHER"; return 0; }

static int current = -1;
static int retained = 0;
int cuDevicePrimaryCtxRetain(void **context, int device) { retained++; *context = (void *)(size_t)device; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; retained--; return 0; }
int cuCtxPushCurrent_v2(void *context) { current = (int)(size_t)context; return 0; }
int cuCtxPopCurrent_v2(void **context) { *context = (void *)(size_t)current; current = -1; return 0; }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  if (current < 0) return 201; /* no context */
  *free_bytes = current == 40 ? (size_t)6 << 30 : (size_t)20 << 30;
  *total = (size_t)24 << 30;
  return 0;
}
#endif
