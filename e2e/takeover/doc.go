// Package takeover tests that Fairlead takes the place of a real kube-proxy, and gives it back, under traffic by every way in: not one
// connection breaks, not one new one fails, no answer is lost, and no flow moves. It needs root, iptables, and kube-proxy by
// hack/kube/build.sh. FAIRLEAD_MODE is the mode that Fairlead runs in; what needs IPVS runs in the virtual machine, with the tag ipvs.
package takeover
