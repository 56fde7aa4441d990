// Functions of the C library that an artefact's code may call; the list is imports.def.
#ifndef BIREME_RUNTIME_IMPORTS_H_
#define BIREME_RUNTIME_IMPORTS_H_

namespace bireme::internal {

// Address of a function by name, or null if it is not in the list.
void* find_import(const char* name);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_IMPORTS_H_
