package main

import (
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/fairlead"
)

func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Forward the traffic of the cluster's Services until a signal; the rules stay in place",
		Args:  cobra.NoArgs,
	}
	line := config.NewCommandLine(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return run(cmd, line) }
	return cmd
}

// run runs Fairlead, or does what a flag requests instead.
func run(cmd *cobra.Command, line *config.CommandLine) error {
	ctx := cmd.Context()
	c, err := line.Load(klog.FromContext(ctx))
	switch {
	case err != nil:
		return err
	case line.WriteTo != "":
		return c.WriteFile(line.WriteTo)
	case line.Cleanup:
		return fairlead.Cleanup(ctx)
	case c.InitOnly:
		return fairlead.Init(ctx, c, fairlead.WithChanges(config.Watch(ctx, line, c)))
	}
	// The flags first: the watch changes those of klog with the file.
	return fairlead.Run(ctx, c, fairlead.WithFlags(cmd.Flags()), fairlead.WithChanges(config.Watch(ctx, line, c)))
}
