tollgate_fuzz(record SOURCES record.cc LINK ringbuf)
