package fairlead

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
)

// kernelPatience is how long Fairlead waits before it checks again whether the kernel supports the mode.
const kernelPatience = 10 * time.Second

// awaitSupport repeats an attempt until it succeeds, and logs the first error. All modes but IPVS mode are supported by every kernel. Changed
// settings are passed to apply, and the next attempt follows at once: so Fairlead goes on by itself when the module has been loaded or the
// mode has been changed. It returns an error only if ctx ends.
func awaitSupport(ctx context.Context, changes <-chan *config.Config, attempt func() error, apply func(*config.Config)) error {
	for logged := false; ; logged = true {
		err := attempt()
		if err == nil {
			return nil
		}
		if !logged {
			klog.FromContext(ctx).Error(err, "Proxy mode not supported by this kernel, waiting", "mode", config.ModeIPVS)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c, more := <-changes:
			if more {
				apply(c)
			} else {
				changes = nil
			}
		case <-time.After(kernelPatience):
		}
	}
}
