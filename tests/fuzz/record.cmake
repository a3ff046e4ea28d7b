tollgate_fuzz(record SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/record.cc LINK ringbuf)
