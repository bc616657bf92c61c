// Package traffic keeps hosts of the lab talking to a Service by every way in, while a test changes what forwards for it, and tells
// exactly what broke, was refused, got lost or moved to another endpoint.
//
//	stage := traffic.NewStage(s)       // pods, Services, and the ways in to them
//	s.Write("stage", stage.Objects()...)
//	s.Start()
//	flow, err := traffic.Start(t.Context(), traffic.Options{Targets: stage.Targets})
//	...                                // what the test is about
//	flow.Stop().Check(t)
package traffic
