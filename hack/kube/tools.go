//go:build tools

// Package tools pins the Kubernetes commands that the tests run: building
// them from the module proxy needs nothing but Go.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
)
