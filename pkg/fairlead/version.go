package fairlead

import "runtime/debug"

// release is set when a release is built (-ldflags "-X github.com/fairlead/fairlead/pkg/fairlead.release=v1.2.3").
var release string

// Version returns the release, or the commit for a build that is not a release.
func Version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "unreleased " + s.Value
		}
	}
	return "unreleased"
}
