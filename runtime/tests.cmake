# Tests and fuzzers of the runtime. Each file x.cc has its x_test.cc beside it.

if(BIREME_BUILD_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    message(FATAL_ERROR "BIREME_BUILD_TESTS needs GoogleTest: apt-get install libgtest-dev")
  endif()
  include(GoogleTest)

  add_executable(bireme_tests
    affinity_test.cc api_test.cc arena_test.cc binding_test.cc checksum_test.cc code_image_test.cc
    container_test.cc cpu_test.cc imports_test.cc launch_test.cc mapping_test.cc memory_test.cc
    model_test.cc pool_test.cc random_test.cc scalars_test.cc session_test.cc status_test.cc
    verifier_test.cc wrapper_test.cc xxh3_test.cc xxh64_test.cc
    testing/kernels.cc testing/plan_builder.cc testing/sanitizer_options.cc)
  target_link_libraries(bireme_tests PRIVATE bireme_core GTest::gtest_main)
  gtest_discover_tests(bireme_tests)

  add_executable(launch_benchmark launch_benchmark.cc)
  target_link_libraries(launch_benchmark PRIVATE bireme_core)
  add_executable(session_benchmark session_benchmark.cc testing/kernels.cc testing/plan_builder.cc)
  target_link_libraries(session_benchmark PRIVATE bireme_core)

  # Replaces malloc, so it can be no part of another binary and does not mix with sanitizers.
  if(NOT BIREME_SANITIZE)
    add_executable(bireme_allocation_test allocation_test.cc testing/kernels.cc
                   testing/plan_builder.cc)
    target_link_libraries(bireme_allocation_test PRIVATE bireme_core GTest::gtest)
    gtest_discover_tests(bireme_allocation_test)
  endif()
endif()

if(BIREME_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "BIREME_FUZZ needs clang: cmake -DCMAKE_CXX_COMPILER=clang++")
  endif()
  target_compile_options(bireme_core PRIVATE -fsanitize=fuzzer-no-link)
  add_executable(model_fuzz model_fuzz.cc testing/kernels.cc testing/plan_builder.cc)
  target_link_libraries(model_fuzz PRIVATE bireme_core)
  target_link_options(model_fuzz PRIVATE -fsanitize=fuzzer)
  # Well-formed artefacts to start from; a fuzzer does not find a signed header by chance.
  set(corpus ${CMAKE_BINARY_DIR}/corpus)
  add_custom_command(TARGET model_fuzz POST_BUILD
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${corpus}
                     COMMAND model_fuzz --seeds ${corpus})
endif()
