package fairlead

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
)

func TestWhatChangesWhileRunning(t *testing.T) {
	tests := []struct {
		name       string
		from       config.Mode
		impossible error
		change     func(c *config.Config)
		want       func(c *config.Config) // what of it is taken up
		events     []string
	}{
		{name: "nothing", from: config.ModeIPTables},
		{
			name: "another mode, with its own settings", from: config.ModeIPTables,
			change: func(c *config.Config) {
				c.Mode, c.IPVS.Scheduler, c.IPVS.DrainTimeout = config.ModeIPVS, "lc", time.Minute
			},
			want: func(c *config.Config) {
				c.Mode, c.IPVS.Scheduler, c.IPVS.DrainTimeout = config.ModeIPVS, "lc", time.Minute
			},
		},
		{
			name: "not settings of the mode in force", from: config.ModeIPVS,
			change: func(c *config.Config) { c.IPVS.Scheduler = "lc" },
		},
		{
			name: "the periods of all modes", from: config.ModeIPVS,
			change: func(c *config.Config) {
				c.IPVS.SyncPeriod, c.IPVS.MinSyncPeriod, c.IPTables.SyncPeriod, c.IPTables.MinSyncPeriod = 41*time.Second, 42, 43*time.Second, 44
			},
			want: func(c *config.Config) {
				c.IPVS.SyncPeriod, c.IPVS.MinSyncPeriod, c.IPTables.SyncPeriod, c.IPTables.MinSyncPeriod = 41*time.Second, 42, 43*time.Second, 44
			},
		},
		{
			name: "not what stands in the kernel with the old settings", from: config.ModeIPTables,
			change: func(c *config.Config) {
				c.Mode, c.IPTables.MasqueradeBit, c.ClusterCIDR = config.ModeIPVS, 20, "10.1.0.0/16"
			},
			want: func(c *config.Config) { c.Mode = config.ModeIPVS },
		},
		{
			name: "no mode that the kernel does not have, and nothing with it", from: config.ModeIPTables, impossible: errors.New("there is no IPVS"),
			change: func(c *config.Config) { c.Mode, c.IPVS.SyncPeriod = config.ModeIPVS, time.Hour },
			events: []string{"cannot switch from iptables mode to ipvs mode: there is no IPVS"},
		},
		{
			name: "auto keeps the mode that serves", from: config.ModeIPVS, impossible: errors.New("it is not asked"),
			change: func(c *config.Config) { c.Mode, c.IPVS.SyncPeriod = config.ModeAuto, time.Hour },
			want:   func(c *config.Config) { c.IPVS.SyncPeriod = time.Hour },
		},
		{
			name: "no mode whose settings do not fit those that stay", from: config.ModeIPTables,
			change: func(c *config.Config) { c.Mode, c.IPVS.MarkBit, c.IPTables.MasqueradeBit = config.ModeIPVS, 14, 20 },
			events: []string{"cannot switch"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			running, changed, want := config.Default(), config.Default(), config.Default()
			running.Mode, changed.Mode, want.Mode = test.from, test.from, test.from
			if test.change != nil {
				test.change(changed)
			}
			if test.want != nil {
				test.want(want)
			}
			var events []string
			l := &live{refused: func(_ config.Mode, message string) { events = append(events, message) }, prepare: func(context.Context, *config.Config) error { return test.impossible }}
			l.running.Store(running)
			l.apply(t.Context(), changed)
			if diff := cmp.Diff(want, l.running.Load(), cmpopts.IgnoreUnexported(config.Config{})); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if !slices.EqualFunc(events, test.events, strings.HasPrefix) {
				t.Errorf("events %q, want %q", events, test.events)
			}
		})
	}
}

// unwritable is a Backend that cannot write anything, as that of IPv6 on a kernel without ip6tables.
type unwritable struct{ err error }

func (b unwritable) Sync(context.Context, *service.Table, service.PortSet) error { return b.err }
func (b unwritable) Verify(context.Context) ([]string, error)                    { return nil, b.err }
func (b unwritable) Drain(context.Context) (int, error)                          { return 0, b.err }
func (b unwritable) Remove(context.Context) error                                { return b.err }

// TestTheModeInForce is that of the families that have Services.
func TestTheModeInForce(t *testing.T) {
	tests := []struct {
		name     string
		services bool // in IPv6, which cannot be switched
		want     config.Mode
	}{
		{"a family without Services does not count", false, config.ModeIPVS},
		{"a family with Services counts", true, config.ModeIPTables},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				l := &live{}
				l.running.Store(withMode(config.Default(), config.ModeIPVS))
				for family, broken := range map[service.Family]error{service.IPv4: nil, service.IPv6: errors.New("no ip6tables")} {
					p := proxier.New(service.NewBuilder(service.Options{Family: family}), unwritable{}, proxier.Options{
						Mode: string(config.ModeIPTables), MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second,
					})
					l.lines = append(l.lines, &line{family: family, proxier: p})
					for name, address := range map[string]string{"four": "10.96.0.1", "six": "fd00::1"} {
						if name == "four" || test.services {
							p.SetService(&corev1.Service{
								ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
								Spec:       corev1.ServiceSpec{ClusterIP: address, Ports: []corev1.ServicePort{{Port: 80}}},
							})
						}
					}
					go p.Run(ctx)
					p.Listed()
					time.Sleep(time.Second)
					p.SetMode(proxier.Mode{Name: string(config.ModeIPVS), Backend: unwritable{broken}, MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second})
				}
				time.Sleep(time.Minute)
				if got := l.Mode(); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		})
	}
}
