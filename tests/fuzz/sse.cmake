tollgate_fuzz(sse SOURCES sse.cc LINK codec)
