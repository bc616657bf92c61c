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

// monitor shows the state of Fairlead to others, by metrics, health checks and events.
type monitor struct {
	families []service.Family
	metrics  *metrics.Metrics
	health   *healthz.Health
	events   source.Events
	flags    map[string]string // served at /flagz; nil: not served

	mu      sync.Mutex
	config  *config.Config // applies until live is set
	live    *live
	healthy map[service.Family]func() bool
}

func newMonitor(c *config.Config, families []service.Family) *monitor {
	m := &monitor{families: families, metrics: metrics.New(Version()), config: c, healthy: map[service.Family]func() bool{}}
	m.health = healthz.New(healthz.Options{Families: families, Healthy: m.keepsUp, Healthz: m.metrics.Healthz, Livez: m.metrics.Livez})
	m.metrics.SetMode(string(c.Mode))
	for _, mode := range config.Modes {
		m.metrics.AddMode(string(mode))
	}
	for _, f := range families {
		m.metrics.Observer(f) // so that its metrics exist while Fairlead waits for the kernel
	}
	return m
}

// setEvents sets where events go. It is called before anything is observed.
func (m *monitor) setEvents(events source.Events, notify func(reason, message string)) {
	m.events = &countedEvents{events, m.metrics, notify}
}

// setConfig sets the settings that apply now.
func (m *monitor) setConfig(c *config.Config) {
	m.mu.Lock()
	m.config = c
	m.mu.Unlock()
	m.metrics.SetMode(string(c.Mode))
}

// waitsFor shows that another Fairlead forwards this node's traffic.
func (m *monitor) waitsFor(other string) {
	m.health.SetWaiting("waiting: another Fairlead forwards this node's traffic: " + other)
}

// setLive sets what knows the settings and the mode from now on.
func (m *monitor) setLive(l *live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = l
}

// current returns the settings that apply now.
func (m *monitor) current() *config.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live != nil {
		return m.live.running.Load()
	}
	return m.config
}

// mode returns the mode in force.
func (m *monitor) mode() config.Mode {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live != nil {
		return m.live.Mode()
	}
	return m.config.Mode
}

// switched reports that a family has switched to another mode, or why it could not.
func (m *monitor) switched(family service.Family, from, to string, err error) {
	m.metrics.Switched(to, err)
	if err != nil {
		m.events.Node(source.ReasonSwitchFailed, shortened(fmt.Sprintf("%s: cannot switch from %s mode to %s mode yet, and goes on as it is: %v", family, from, to, err)))
		return
	}
	m.events.Node(source.ReasonModeSwitched, fmt.Sprintf("%s: switched from %s mode to %s mode", family, from, to))
}

// refused reports a switch to a mode that this node does not support.
func (m *monitor) refused(to config.Mode, message string) {
	m.metrics.SwitchRefused(string(to))
	m.events.Node(source.ReasonSwitchFailed, shortened(message))
}

// setHealthy sets how to find out whether a family is healthy.
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

// observer returns the Observer of a family's Proxier.
func (m *monitor) observer(family service.Family) proxier.Observer {
	return &observer{Observer: m.metrics.Observer(family), family: family, health: m.health, events: m.events, now: time.Now}
}

// countedEvents also counts events and passes them to WithNodeEvents.
type countedEvents struct {
	source.Events
	metrics *metrics.Metrics
	notify  func(reason, message string) // see WithNodeEvents
}

// Node implements source.Events.
func (e *countedEvents) Node(reason, message string) {
	e.metrics.Event(reason)
	e.Events.Node(reason, message)
	e.notify(reason, message)
}

// Service implements source.Events.
func (e *countedEvents) Service(name types.NamespacedName, reason, message string) {
	e.metrics.Event(reason)
	e.Events.Service(name, reason, message)
}

const (
	// failuresInARow is how many consecutive syncs must fail before there is an event: the iptables lock is often held for a moment.
	failuresInARow = 3
	// eventPause is the minimum time between two events with the same reason: two programs that overwrite each other's rules do not stop.
	eventPause = 5 * time.Minute
)

// observer passes everything to the metrics, and sends an event for what an operator needs to know.
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
		o.health.Updated(o.family) // no Service needs this family, so the node is ready without it
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

// shortened shortens a text for an event, whose message can have 1024 bytes.
func shortened(text string) string {
	const most = 900
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}
