// Operator new of a check build: the linker sends every call of it in the module here (--wrap), and from the engine's own
// code it counts among the allocations that a test lets fail.
#include <cstddef>
#include <new>

#include "../allocations.h"

extern "C" {
// By their mangled names: operator new, operator new[], and both of std::nothrow.
void* __real__Znwm(size_t);
void* __real__Znam(size_t);
void* __real__ZnwmRKSt9nothrow_t(size_t, const std::nothrow_t&) noexcept;
void* __real__ZnamRKSt9nothrow_t(size_t, const std::nothrow_t&) noexcept;

void* __wrap__Znwm(size_t bytes) {
  if (elman::in_engine()) elman::count_allocation();
  return __real__Znwm(bytes);
}

void* __wrap__Znam(size_t bytes) {
  if (elman::in_engine()) elman::count_allocation();
  return __real__Znam(bytes);
}

void* __wrap__ZnwmRKSt9nothrow_t(size_t bytes, const std::nothrow_t& tag) noexcept try {
  if (elman::in_engine()) elman::count_allocation();
  return __real__ZnwmRKSt9nothrow_t(bytes, tag);
} catch (const std::bad_alloc&) {
  return nullptr;
}

void* __wrap__ZnamRKSt9nothrow_t(size_t bytes, const std::nothrow_t& tag) noexcept try {
  if (elman::in_engine()) elman::count_allocation();
  return __real__ZnamRKSt9nothrow_t(bytes, tag);
} catch (const std::bad_alloc&) {
  return nullptr;
}
}
