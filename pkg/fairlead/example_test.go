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

// A program that runs Fairlead as one of its parts, until it is told to end.
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

// Settings that change while Fairlead runs: from some time on it forwards in another mode.
func ExampleWithChanges() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	was := config.Default()
	was.Kubeconfig = "/var/lib/example/kubeconfig"
	changes := make(chan *config.Config)
	go func() {
		is := *was // a copy: what Run has is left alone
		is.Mode = config.ModeIPVS
		if err := is.Validate(); err != nil {
			klog.FromContext(ctx).Error(err, "The mode stays as it is")
			return
		}
		select {
		case changes <- &is:
		case <-ctx.Done():
		}
	}()
	if err := fairlead.Run(ctx, was, fairlead.WithChanges(changes)); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot forward the traffic of Services")
	}
}
