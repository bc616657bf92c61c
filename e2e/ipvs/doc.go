// Package ipvs tests IPVS mode from outside: what happens to packets while things change, what the kernel holds, and how damage done by
// other programs is repaired. All its tests have the build tag ipvs, as they need a kernel with IPVS: they run in the virtual machine. Files
// that also have the tag soak are for `make soak` alone. What is true of every mode is tested elsewhere, by packages cases and packets.
package ipvs
