# How a Tollgate target is made: warnings, sanitizers and include root in one place.

function(tollgate_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion
    -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer -fstack-protector-strong)
  if(TOLLGATE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(TOLLGATE_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${TOLLGATE_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${TOLLGATE_SANITIZE})
  endif()
  target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}")
endfunction()

# tollgate_library(NAME [SOURCES ...] [LINK ...] [PRIVATE_LINK ...])
function(tollgate_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  tollgate_compile_options(${name})
  target_link_libraries(${name} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
endfunction()

# tollgate_test(NAME SOURCES ... LINK ... [LABELS ...]): one GoogleTest binary, one ctest entry.
function(tollgate_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  tollgate_compile_options(${name})
  target_link_libraries(${name} PRIVATE ${arg_LINK} GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS "unit;${arg_LABELS}")
endfunction()

# tollgate_fuzz(NAME SOURCES ... LINK ...): with clang a libFuzzer binary `fuzz_NAME`; with every
# compiler a replay of tests/fuzz/corpus/NAME as a ctest entry.
function(tollgate_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(replay_${name} ${arg_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
  tollgate_compile_options(replay_${name})
  target_link_libraries(replay_${name} PRIVATE ${arg_LINK})
  add_test(NAME fuzz_replay_${name}
    COMMAND replay_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz_replay_${name} PROPERTIES TIMEOUT 300 LABELS "unit;fuzz")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_executable(fuzz_${name} EXCLUDE_FROM_ALL ${arg_SOURCES})
    tollgate_compile_options(fuzz_${name})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address)
    target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK})
  endif()
endfunction()
