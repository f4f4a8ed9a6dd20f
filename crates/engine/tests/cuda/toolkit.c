/* A stand-in for cuBLASLt, cuBLAS and cuRAND in one, with the faults that real ones have. */
#include <stdlib.h>

#ifndef FAULT_SYMBOLS
int cublasLtCreate(void **handle) { *handle = (void *)1; return 0; }
int cublasCreate_v2(void **handle) {
#if defined(FAULT_ABORT)
  abort();
#elif defined(FAULT_STATUS)
  return FAULT_STATUS;
#endif
  *handle = (void *)1;
  return 0;
}
int cublasDestroy_v2(void *handle) { return handle == (void *)1 ? 0 : 1; }
int curandCreateGenerator(void **generator, int kind) { (void)kind; *generator = (void *)1; return 0; }
#else
int nothing(void) { return 0; }
#endif
