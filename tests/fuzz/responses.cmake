tollgate_fuzz(responses SOURCES responses.cc LINK codec)
