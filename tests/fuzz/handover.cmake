tollgate_fuzz(handover SOURCES handover.cc LINK daemon_handover base)
