// Package modeswitch tests the switch between the modes under traffic, live by the configuration file and by a restart: no connection is
// reset, no new one fails, and no UDP flow moves. All its tests have the build tag ipvs, as they need a kernel with IPVS: they run in the
// virtual machine. Files that also have the tag soak are for `make soak` alone.
package modeswitch
