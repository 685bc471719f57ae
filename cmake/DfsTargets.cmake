# Two precompiled headers, shared by all targets: the standard library for libraries and programs, and
# GoogleTest on top of it for tests. They exist for build speed only: every file includes what it uses.
if(DFS_PCH)
  add_library(dfs_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
  target_link_libraries(dfs_pch PRIVATE dfs_warnings fmt::fmt)
  target_precompile_headers(dfs_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch_std.h)
  add_library(dfs_pch_test OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
  target_link_libraries(dfs_pch_test PRIVATE dfs_warnings fmt::fmt GTest::gtest GTest::gmock)
  target_precompile_headers(dfs_pch_test PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch_test.h)
endif()

function(dfs_use_pch name pch)
  if(DFS_PCH)
    target_precompile_headers(${name} REUSE_FROM ${pch})
  endif()
endfunction()

# dfs_library(NAME SRCS a.cc b.cc DEPS x y): one static library of a folder. It links only what DEPS
# names, so an include of a folder that the design does not allow fails to link or to compile.
function(dfs_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE dfs_warnings ${ARG_PRIVATE_DEPS})
    dfs_use_pch(${name} dfs_pch)
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
endfunction()

function(dfs_program name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE dfs_warnings ${ARG_DEPS})
  dfs_use_pch(${name} dfs_pch)
endfunction()

# A target for each label (dfs_tests_unit, dfs_tests_sim, ...) builds the tests that carry it and no others.
foreach(label unit conformance sim crash e2e)
  add_custom_target(dfs_tests_${label})
endforeach()
function(dfs_label_tests target)
  foreach(label ${ARGN})
    add_dependencies(dfs_tests_${label} ${target})
  endforeach()
endfunction()

# dfs_test(NAME SRCS ... DEPS ... LABELS unit): one GoogleTest program, one ctest entry.
# Labels: unit, conformance, sim, crash, e2e. TIMEOUT in seconds, 300 when not said:
# it ends what hangs, and no busy machine may reach it.
function(dfs_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(DFS_SANITIZE)  # several times slower
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 3")
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_SRCS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/bin)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  # GCC 12 sees uninitialised bytes of temporary strings in optimised tests where there are none.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-Wno-maybe-uninitialized>)
  target_link_libraries(${name} PRIVATE dfs_warnings ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  dfs_use_pch(${name} dfs_pch_test)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  dfs_label_tests(${name} ${ARG_LABELS})
endfunction()
