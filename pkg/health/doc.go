// Package health answers load balancers that ask whether this node has endpoints of a Service: the health check node ports of
// Services of type LoadBalancer with externalTrafficPolicy Local.
//
// The answers are those of kube-proxy 1.36 to the letter, because what reads them was written against it.
package health
