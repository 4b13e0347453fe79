//! What surrounds the line: supply tank, motor temperature, cleaning in place.

/// The supply tank holds 5 m³; a delivery of 400 l/min starts at 35 % and stops at 85 %.
pub(crate) const TANK_UL: i64 = 5_000_000_000;
const DELIVERY_UL_PER_TICK: i64 = 666_667;
/// Room temperature, and what full speed adds at the motor's winding, in micro-degrees Celsius.
const ROOM_UC: i64 = 24_000_000;
const MOTOR_UC_PER_MM_MIN: i64 = 600;
/// Time constants in ticks: the motor needs minutes, the cleaning circuit a good half minute.
const MOTOR_TICKS: i64 = 4_096;
const CLEANING_TICKS: i64 = 400;
/// Conductivity of fresh water, in nS/cm.
const WATER_NS: i64 = 600_000;

/// A cleaning programme, as the controller names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Programme {
    /// Warm water.
    Rinse,
    /// Hot caustic.
    Caustic,
    /// Warm acid.
    Acid,
    /// Caustic at full length, for the weekend.
    Full,
}

impl Programme {
    /// All programmes with their names in the model.
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("Rinse", Self::Rinse), ("Caustic", Self::Caustic), ("Acid", Self::Acid), ("Full", Self::Full)];

    /// How long it runs, in minutes.
    pub(crate) fn minutes(self) -> u64 {
        match self {
            Self::Rinse => 5,
            Self::Caustic => 15,
            Self::Acid => 12,
            Self::Full => 35,
        }
    }

    /// Temperature (micro-degrees) and conductivity (nS/cm) that it holds.
    fn targets(self) -> (i64, i64) {
        match self {
            Self::Rinse => (38_000_000, WATER_NS),
            Self::Caustic | Self::Full => (80_000_000, 62_000_000),
            Self::Acid => (65_000_000, 45_000_000),
        }
    }
}

/// State of the surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Utilities {
    /// Product in the supply tank, in microlitres.
    pub(crate) tank_ul: i64,
    /// Winding temperature, in micro-degrees Celsius.
    pub(crate) motor_uc: i64,
    /// Cleaning return temperature, in micro-degrees Celsius.
    pub(crate) cip_uc: i64,
    /// Cleaning return conductivity, in nS/cm.
    pub(crate) cip_ns: i64,
    delivery: bool,
    cleaning: Option<(Programme, u64)>,
}

impl Utilities {
    /// Tank at 78 %, everything at room temperature.
    pub(crate) fn new() -> Self {
        let tank_ul = TANK_UL / 100 * 78;
        Self {
            tank_ul,
            motor_uc: ROOM_UC,
            cip_uc: ROOM_UC,
            cip_ns: WATER_NS,
            delivery: false,
            cleaning: None,
        }
    }

    /// The cleaning programme that runs, and the tick at which it ends.
    pub(crate) fn cleaning(&self) -> Option<(Programme, u64)> {
        self.cleaning
    }

    /// Starts `programme`, to end at tick `until`.
    pub(crate) fn start_cleaning(&mut self, programme: Programme, until: u64) {
        self.cleaning = Some((programme, until));
    }

    /// Lets one tick pass, in which the filler drew `drawn_ul` from the tank.
    pub(crate) fn tick(&mut self, tick: u64, speed_mm_min: i64, drawn_ul: i64) {
        if self.tank_ul < TANK_UL / 100 * 35 {
            self.delivery = true;
        } else if self.tank_ul >= TANK_UL / 100 * 85 {
            self.delivery = false;
        }
        let delivered = if self.delivery { DELIVERY_UL_PER_TICK } else { 0 };
        self.tank_ul += delivered - drawn_ul;
        self.motor_uc += (ROOM_UC + speed_mm_min * MOTOR_UC_PER_MM_MIN - self.motor_uc) / MOTOR_TICKS;
        self.cleaning = self.cleaning.filter(|(_, until)| tick < *until);
        let (heat, conductivity) =
            self.cleaning.map_or((ROOM_UC, WATER_NS), |(programme, _)| programme.targets());
        self.cip_uc += (heat - self.cip_uc) / CLEANING_TICKS;
        self.cip_ns += (conductivity - self.cip_ns) / CLEANING_TICKS;
    }
}
