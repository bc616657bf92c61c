package fairlead_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/fairlead"
)

// A program that runs Fairlead as a part of it, until it receives a signal.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	c := config.Default()
	c.Manifests = "manifests" // In a cluster: c.Kubeconfig = "/var/lib/example/kubeconfig".
	c.HostnameOverride = "node1"
	c.ClusterCIDR = "10.244.0.0/16,fd00:10:244::/48"
	c.IPTables.MinSyncPeriod = 100 * time.Millisecond

	ctx = klog.NewContext(ctx, klog.Background().WithName("proxy"))
	if err := fairlead.Run(ctx, c); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot forward the traffic of Services")
	}
	klog.Flush()
}

// Settings that change while Fairlead runs: it switches to another mode.
func ExampleWithChanges() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	initial := config.Default()
	initial.Kubeconfig = "/var/lib/example/kubeconfig"
	changes := make(chan *config.Config)
	go func() {
		changed := *initial // a copy, as Run uses the original
		changed.Mode = config.ModeIPVS
		if err := changed.Validate(); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot change the mode")
			return
		}
		select {
		case changes <- &changed:
		case <-ctx.Done():
		}
	}()
	if err := fairlead.Run(ctx, initial, fairlead.WithChanges(changes)); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot forward the traffic of Services")
	}
}
