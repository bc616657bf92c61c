package site

import (
	"github.com/fairlead/fairlead/e2e/apiserver"
)

// ControlPlane starts an API server at the backbone, for as long as the test runs.
func (s *Site) ControlPlane() *apiserver.ControlPlane {
	s.t.Helper()
	plane := apiserver.NewControlPlane(apiserver.ControlPlaneConfig{
		Address: s.Backbone.IPv4.String(),
		Port:    6443,
		Start:   s.Backbone.Start,
		Dial:    s.Backbone.DialContext,
	})
	if err := plane.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			s.t.Error(err)
		}
	})
	return plane
}

// Kubeconfig is for the user that a proxy is, with no more rights than kube-proxy has.
func (s *Site) Kubeconfig(plane *apiserver.ControlPlane) string {
	s.t.Helper()
	path, err := plane.Kubeconfig(apiserver.KubeProxyUser)
	if err != nil {
		s.t.Fatal(err)
	}
	return path
}
