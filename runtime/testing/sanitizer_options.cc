// Tests ask for more memory than there is and expect a null pointer, also under a sanitizer.
extern "C" {
const char* __asan_default_options();
const char* __tsan_default_options();
const char* __asan_default_options() { return "allocator_may_return_null=1"; }
const char* __tsan_default_options() {
  return "allocator_may_return_null=1:die_after_fork=0";  // a test starts threads in a child
}
}
