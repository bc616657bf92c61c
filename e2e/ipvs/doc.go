// Package ipvs tests IPVS mode from outside: what packets meet while things change, what the kernel holds, and what becomes of it when
// somebody damages it. All its tests have the build tag ipvs, as they need a kernel with IPVS: `make test-ipvs` runs them in the virtual
// machine. What is true of every mode is tested elsewhere, by packages cases and packets.
package ipvs
