# Compiler settings of every target: C++20, warnings are errors, hardening, sanitizers, ccache, mold.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)  # the same objects go into libdfs.so
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# Assertions of ours stay on in every build; -g1 keeps stack traces and halves the link.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")

set(DFS_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")

find_program(DFS_CCACHE ccache)
if(DFS_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${DFS_CCACHE})
endif()
# Precompiled headers save a third of a cold build; with ccache they would only spoil its hits.
if(DFS_CCACHE)
  option(DFS_PCH "Use precompiled headers" OFF)
else()
  option(DFS_PCH "Use precompiled headers" ON)
endif()
if(DFS_PCH)
  add_compile_options(-fPIC)  # one precompiled header fits libraries and programs
  set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
endif()

find_program(DFS_MOLD mold)
if(DFS_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_definitions(_GLIBCXX_ASSERTIONS SPDLOG_FMT_EXTERNAL)

# Flags of our own code; generated code is built with -w instead.
add_library(dfs_warnings INTERFACE)
target_compile_options(dfs_warnings INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough
  -Wno-restrict)  # GCC 12 reports false -Wrestrict on std::string
if(DFS_SANITIZE)
  add_compile_options(-fsanitize=${DFS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DFS_SANITIZE})
  target_compile_options(dfs_warnings INTERFACE -Wno-error=maybe-uninitialized -Wno-maybe-uninitialized)
  add_compile_definitions(DFS_SANITIZED=1)
  if(DFS_SANITIZE STREQUAL "thread")
    add_compile_options(-O1 -Wno-tsan)
    add_compile_definitions(DFS_TSAN=1)
  endif()
else()
  add_compile_options(-fstack-protector-strong)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    add_compile_options(-D_FORTIFY_SOURCE=2)
  endif()
endif()
