package proxier

import (
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// Observer is told what a Proxier does. Its methods are called from several goroutines, and must be quick.
type Observer interface {
	// ServiceChanged and EndpointsChanged say that one object has come, changed or gone.
	ServiceChanged()
	EndpointsChanged()
	// Queued says that a sync has been asked for.
	Queued()
	// Synced says that the kernel holds what it should.
	Synced(Sync)
	// Failed says that something could not be done, and will be tried again.
	Failed(Failure)
	// Traffic says what the kernel has counted since the last call.
	Traffic(service.TrafficCounts)
	// Took says how long a part of the work took, whether it went well or not.
	Took(Phase, time.Duration)
	// Repaired says that another program had changed these parts of the kernel, and that they are as they should be again.
	Repaired(drift []string)
}

// Sync is one that went well.
type Sync struct {
	// Table is what the kernel holds.
	Table *service.Table
	// Written is unset where nothing had to be done, and then Full, Took and Rules say nothing.
	Written bool
	// Full: everything was compared with the kernel, not only what had changed.
	Full bool
	Took time.Duration
	// Dirty is how many service ports this sync had to look at; 0 where it was Full.
	Dirty int
	// Rules has how many packet filter rules there are by table, and RulesWritten how many of them this sync wrote; nil where the
	// Backend does not count them.
	Rules, RulesWritten map[string]int
	// Services and Endpoints count the changes to objects that are in the kernel now, and were not before.
	Services, Endpoints int
	// Delays are how long it took, from the change that made the control plane write an EndpointSlice until now, for each.
	Delays []time.Duration
}

// RuleCounter is a Backend that counts its packet filter rules.
type RuleCounter interface {
	// RuleCounts has how many there are by table, and how many were written since the last call.
	RuleCounts() (total, written map[string]int)
}

// TrafficCounter is a Backend that can count the traffic of service ports.
type TrafficCounter interface {
	// TakeTraffic returns what has been counted since the last call, as last read by Sync or Verify, or nil.
	TakeTraffic() *service.TrafficCounts
}

// Phase is a part of a Proxier's work.
type Phase string

// The phases.
const (
	PhaseBuild  Phase = "build"  // make a Table out of the objects
	PhaseWrite  Phase = "write"  // have the Backend write it
	PhaseFollow Phase = "follow" // what follows a sync: stale flows, health check ports
	PhaseVerify Phase = "verify" // compare the kernel with the Table
	PhaseRetire Phase = "retire" // remove endpoints whose connections have ended
)

// Phases lists all of them.
var Phases = []Phase{PhaseBuild, PhaseWrite, PhaseFollow, PhaseVerify, PhaseRetire}

// Task is something that a Proxier does.
type Task string

// The tasks.
const (
	TaskSync   Task = "sync"   // write rules
	TaskVerify Task = "verify" // compare the kernel with them
	TaskFollow Task = "follow" // what follows a sync
	TaskRetire Task = "retire" // remove endpoints whose connections have ended
)

// Tasks lists all of them.
var Tasks = []Task{TaskSync, TaskVerify, TaskFollow, TaskRetire}

// Failure is a Task that could not be done.
type Failure struct {
	Task Task
	Err  error
	// InARow counts the failures of a sync since the last one that went well; 1 for other tasks.
	InARow int
	// Full and Took are what they are in Sync; for other tasks they say nothing.
	Full bool
	Took time.Duration
	// Needless: there is nothing to write, never was, and this is not the first failure; as in the IPv6 of a cluster of IPv4, on a kernel
	// without ip6tables.
	Needless bool
}

// unobserved is an Observer that nobody listens to.
type unobserved struct{}

func (unobserved) ServiceChanged()               {}
func (unobserved) EndpointsChanged()             {}
func (unobserved) Queued()                       {}
func (unobserved) Synced(Sync)                   {}
func (unobserved) Failed(Failure)                {}
func (unobserved) Repaired([]string)             {}
func (unobserved) Traffic(service.TrafficCounts) {}
func (unobserved) Took(Phase, time.Duration)     {}
