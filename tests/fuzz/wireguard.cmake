tollgate_fuzz(wireguard SOURCES wireguard.cc LINK identity)
