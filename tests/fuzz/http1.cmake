tollgate_fuzz(http1_request SOURCES http1_request.cc LINK codec)
tollgate_fuzz(http1_response SOURCES http1_response.cc LINK codec)
tollgate_fuzz(http1_chunked SOURCES http1_chunked.cc LINK codec)
