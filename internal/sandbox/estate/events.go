package estate

func (g *generator) events() {}
