// Fairlead forwards the traffic of Kubernetes Services on a node, in place of kube-proxy.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/fairlead"
)

func main() {
	collectEarlier()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := newCommand().ExecuteContext(ctx)
	stop()
	klog.Flush()
	if err != nil {
		klog.Background().Error(err, "Fairlead ends")
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
}

// newCommand returns the root command. Without a subcommand it runs, so that it can replace kube-proxy.
func newCommand() *cobra.Command {
	run := newRunCommand()
	root := &cobra.Command{
		Use:           "fairlead",
		Short:         "Forward the traffic of Kubernetes Services on this node",
		Long:          "Fairlead watches Services and EndpointSlices, and makes the kernel of this node forward the traffic of Services to their endpoints.",
		Args:          cobra.NoArgs,
		RunE:          run.RunE,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       fairlead.Version(),
	}
	logging := flag.NewFlagSet("logging", flag.ContinueOnError)
	klog.InitFlags(logging)
	for _, name := range []string{"v", "vmodule"} {
		root.PersistentFlags().AddGoFlag(logging.Lookup(name))
		run.Flags().AddGoFlag(logging.Lookup(name)) // the file of --config sets them, too
	}
	root.Flags().AddFlagSet(run.Flags())
	// As in kube-proxy, --proxy_mode is --proxy-mode.
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	root.AddCommand(run, newCleanupCommand())
	return root
}
