// What every page loads: htmx for parts of pages that change, and the small elements that need a script.
import "htmx.org";
import "./confirm";
import "./live-log";
import "./copy-text";
import "./new-calls";
import "./tabs";
import "./sql-history";
import "./live-part";
import "./trouble";
