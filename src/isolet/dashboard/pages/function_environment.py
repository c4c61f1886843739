from isolet.dashboard.sections import Section

section = Section("", "functions/{function_id}", under="Functions")
