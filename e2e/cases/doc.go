// Package cases is the table of what a node has to do with packets for Services: objects in, then questions and their answers.
// Whatever forwards packets is held against the same table. The table knows Kubernetes' objects and kube-proxy's flags, but
// not how a backend works.
//
// A question reads "client > destination:port", with "/udp" or "/sctp" behind it unless it is TCP. Its answer is one of
//
//	a b kept                   one of these endpoints, each as likely as the other, which sees the client's own address
//	a kept, c masqueraded      the same, but endpoint c sees an address of the node
//	a b kept, stays            any of them for a new client, and from then on the same one
//	a b kept, stays with a     the client has been at a before
//	refused                    the client learns at once that nobody is there
//	dropped                    the client hears nothing, and tries elsewhere
//	passed                     no Service wants the packet, and it goes on untouched
//
// An endpoint serves on port 8080 unless the answer names another: "a:9090".
//
// The names stand for addresses of the family that is being tried:
//
//	pod, crowd       clients on node1; the crowd has many addresses
//	far              a client on node2: a pod of the cluster that comes in from outside of node1
//	outside          a client that has nothing to do with the cluster
//	node             node1 itself, on which all packets are looked at; gateway: its address on the pods' network
//	node2            the other node, a neighbor of node1
//	localhost        the loopback address
//	a, b             endpoints on node1
//	c, d, m1 to m40  endpoints on node2
//	web, api, db     the cluster IP of the Service of that name; every case has its own
//	ext1, ext2       addresses for spec.externalIPs; every case has its own
//	lb1, lb2         addresses of a load balancer; every case has its own
//
// Ports from 30000 to 30004 stand for node ports that are the case's own.
package cases
