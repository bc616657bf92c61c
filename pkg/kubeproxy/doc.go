// Package kubeproxy finds what a kube-proxy has left on this node, and removes that and nothing else: its chains (versions 1.2x to 1.36,
// both variants of iptables), its table of nftables, and in IPVS mode its virtual servers, its device and its sets. What kubelet made
// stays, and what others made.
//
// TakeOver does it in the background, once Fairlead serves and kube-proxy runs no more, for every kube-proxy that comes while Fairlead runs.
package kubeproxy
