// Package takeover tests that Fairlead takes the place of a real kube-proxy, and gives it back, under traffic on every path: no connection
// is reset, no new one fails, no packet is lost, and no flow moves. It needs root, iptables, nft, and kube-proxy by hack/kube/build.sh.
// FAIRLEAD_MODE is the mode that Fairlead runs in; what needs IPVS runs in the virtual machine, with the tag ipvs. Files that have the tag
// soak are for `make soak` alone.
package takeover
