package config

// NeedRestart names the settings that differ and are not taken up before Fairlead is started again. What matters in ipvs mode alone
// is taken up with the mode.
func NeedRestart(was, is *Config) []string {
	var names []string
	for _, s := range differing(was, is) {
		if s.live || s.ofIPVS() && (was.Mode != ModeIPVS || is.Mode != ModeIPVS) {
			continue
		}
		names = append(names, is.Named(s.flag))
	}
	return names
}
