package fairlead

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/healthz"
	"github.com/fairlead/fairlead/pkg/metrics"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/source"
)

// monitor is all by which somebody outside can see how a Fairlead does: metrics, health, and events.
type monitor struct {
	metrics *metrics.Metrics
	health  *healthz.Health
	events  source.Events

	mu      sync.Mutex
	config  *config.Config // as it holds until there is live
	live    *live
	healthy map[service.Family]func() bool
}

func newMonitor(c *config.Config, families []service.Family) *monitor {
	m := &monitor{metrics: metrics.New(Version()), config: c, healthy: map[service.Family]func() bool{}}
	m.health = healthz.New(healthz.Options{Families: families, Healthy: m.keepsUp, Healthz: m.metrics.Healthz, Livez: m.metrics.Livez})
	m.metrics.SetMode(string(c.Mode))
	for _, f := range families {
		m.metrics.Observer(f) // what is counted is there while it waits for the kernel, too
	}
	return m
}

// setEvents says where events go. It is called before anything is observed.
func (m *monitor) setEvents(events source.Events, tell func(reason, message string)) {
	m.events = &countedEvents{events, m.metrics, tell}
}

// setConfig says that other settings hold now.
func (m *monitor) setConfig(c *config.Config) {
	m.mu.Lock()
	m.config = c
	m.mu.Unlock()
	m.metrics.SetMode(string(c.Mode))
}

// setLive says who knows what holds, from now on.
func (m *monitor) setLive(l *live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = l
}

// current are the settings that hold now.
func (m *monitor) current() *config.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live != nil {
		return m.live.running.Load()
	}
	return m.config
}

// mode is the one that forwards now.
func (m *monitor) mode() config.Mode {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live != nil {
		return m.live.Mode()
	}
	return m.config.Mode
}

// switched tells of a family's switch to another mode, or of one that could not be.
func (m *monitor) switched(family service.Family, from, to string, err error) {
	m.metrics.Switched(to, err)
	if err != nil {
		m.events.Node(source.ReasonSwitchFailed, shortened(fmt.Sprintf("%s: cannot switch from %s mode to %s mode yet, and goes on as it is: %v", family, from, to, err)))
		return
	}
	m.events.Node(source.ReasonModeSwitched, fmt.Sprintf("%s: switched from %s mode to %s mode", family, from, to))
}

// refused tells of a mode that cannot be on this node.
func (m *monitor) refused(reason, message string) { m.events.Node(reason, shortened(message)) }

// setHealthy says how to find out whether a family keeps up.
func (m *monitor) setHealthy(family service.Family, healthy func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.healthy[family] = healthy
}

func (m *monitor) keepsUp(family service.Family) bool {
	m.mu.Lock()
	healthy := m.healthy[family]
	m.mu.Unlock()
	return healthy == nil || healthy()
}

// observer returns what a Proxier of a family has to tell.
func (m *monitor) observer(family service.Family) proxier.Observer {
	return &observer{Observer: m.metrics.Observer(family), family: family, health: m.health, events: m.events, now: time.Now}
}

// countedEvents are Events that show in the metrics too.
type countedEvents struct {
	source.Events
	metrics *metrics.Metrics
	tell    func(reason, message string) // whoever embeds Fairlead, of what concerns the Node
}

// Node implements source.Events.
func (e *countedEvents) Node(reason, message string) {
	e.metrics.Event(reason)
	e.Events.Node(reason, message)
	e.tell(reason, message)
}

// Service implements source.Events.
func (e *countedEvents) Service(name types.NamespacedName, reason, message string) {
	e.metrics.Event(reason)
	e.Events.Service(name, reason, message)
}

const (
	// failuresInARow is how many syncs have to fail before there is an event: the lock of iptables is often held for a moment.
	failuresInARow = 3
	// eventPause is the least time between two events of the same reason. Whoever fights over rules does it for hours.
	eventPause = 5 * time.Minute
)

// observer hands on what a Proxier tells: everything is counted, and what an operator must know becomes an event.
type observer struct {
	proxier.Observer
	family service.Family
	health *healthz.Health
	events source.Events
	now    func() time.Time

	repaired    int // since the last event
	first       []string
	lastDrift   time.Time
	lastFailure time.Time
}

// Synced implements proxier.Observer.
func (o *observer) Synced(s proxier.Sync) {
	o.health.Updated(o.family)
	o.Observer.Synced(s)
}

// Failed implements proxier.Observer.
func (o *observer) Failed(f proxier.Failure) {
	o.Observer.Failed(f)
	if f.Needless {
		o.health.Updated(o.family) // a kernel that cannot do what nobody needs must not keep the node from being ready
		return
	}
	if f.Task != proxier.TaskSync || f.InARow < failuresInARow || o.now().Sub(o.lastFailure) < eventPause {
		return
	}
	o.lastFailure = o.now()
	o.events.Node(source.ReasonSyncFailed, fmt.Sprintf("%s: the rules could not be written %d times in a row; those in place stay: %s",
		o.family, f.InARow, shortened(f.Err.Error())))
}

// Repaired implements proxier.Observer.
func (o *observer) Repaired(drift []string) {
	const shown = 3
	o.Observer.Repaired(drift)
	o.repaired += len(drift)
	o.first = append(o.first, drift[:max(0, min(shown-len(o.first), len(drift)))]...)
	if o.now().Sub(o.lastDrift) < eventPause {
		return
	}
	more := ""
	if o.repaired > len(o.first) {
		more = ", and more"
	}
	o.events.Node(source.ReasonDrift, shortened(fmt.Sprintf("%s: another program had changed %d parts of the rules, which have been put right: %s%s",
		o.family, o.repaired, strings.Join(o.first, "; "), more)))
	o.repaired, o.first, o.lastDrift = 0, nil, o.now()
}

// shortened fits a text into an event, whose message may have 1024 bytes.
func shortened(text string) string {
	const most = 900
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}
