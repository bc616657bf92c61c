// Package traffic keeps hosts of the lab talking to a Service on every path to it while a test changes what forwards for it, and reports
// exactly what was reset, refused, lost or moved to another endpoint.
//
//	stage := traffic.NewStage(t, s)    // pods, a Service, and the paths to it
//	s.Write("stage", stage.Objects()...)
//	s.Start()
//	stage.Await()
//	flow := traffic.Run(t, traffic.Options{Targets: stage.Targets})
//	...                                // what the test is about
//	flow.More(t, 2)                    // everything has been answered twice more
//	flow.Stop().Check(t)
//
// Nothing is judged by the clock. A UDP request is sent only once, so each packet that is lost is a failure. TCP makes up for a loss: what counts
// is a connection that breaks, and a SYN that was lost more than once. Packets sent again on a connection that stands are reported only, as
// on a busy machine they need not mean a loss.
package traffic
