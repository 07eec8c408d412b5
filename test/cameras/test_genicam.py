"""How cameras are set up, on a node-map double that speaks GenICam feature names.

pylon's emulator has neither GigE features (action commands, PTP, packet delay) nor white balance
nor a clock, so these are tested on the double; test_basler.py repeats what the emulator does have.
"""

from __future__ import annotations

import dataclasses

import pytest
from support.genicam_double import FeatureDouble, ace2_gige, ace_gige, dart_usb

from s3k_ros.cameras import genicam, genicam_settings, genicam_trigger
from s3k_ros.cameras.device import Role
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import CameraSettings, TriggerParameters

SETTINGS = CameraSettings(frame_rate_hz=30.0, exposure_s=0.004, gain_db=2.0, link_limit_mb_s=200.0)


def role(mode: str, *, is_source: bool = False, cameras: int = 4, **trigger: object) -> Role:
    return Role(TriggerParameters(mode=mode, **trigger), is_source, cameras)  # type: ignore[arg-type]


def set_up(features: FeatureDouble, made: Role, **changes: object) -> list[str]:
    settings = dataclasses.replace(SETTINGS, **changes)
    genicam.set_image(features, settings, "cam")
    genicam_trigger.set_trigger(features, settings, made)
    return genicam.share_link(features, settings, made.cameras)


# --- image and light --------------------------------------------------------------------------


def test_dart_takes_bayer_full_frame_and_fixed_light() -> None:
    camera = dart_usb(OffsetX=100)
    assert set_up(camera, role("software")) == []
    assert camera.values["PixelFormat"] == "BayerBG8"
    assert (camera.values["Width"], camera.values["Height"]) == (1280, 960)
    assert (camera.values["OffsetX"], camera.values["OffsetY"]) == (0, 0)
    assert camera.values["AcquisitionMode"] == "Continuous"
    assert camera.values["ExposureTime"] == pytest.approx(4000.0)
    assert camera.values["Gain"] == 2.0


def test_ace_gige_takes_the_older_names() -> None:
    camera = ace_gige()
    set_up(camera, role("software"), white_balance_red=1.5)
    assert camera.values["ExposureTimeAbs"] == pytest.approx(4000.0)
    assert camera.settings_of("BalanceRatioSelector", "BalanceRatioAbs") == [
        ("BalanceRatioSelector", "Red"),
        ("BalanceRatioAbs", 1.5),
    ]


def test_region_is_centred_unless_told_otherwise() -> None:
    camera = dart_usb()
    set_up(camera, role("software"), region_width=640, region_height=480, region_y=10)
    assert (camera.values["OffsetX"], camera.values["OffsetY"]) == (320, 10)


def test_automatic_light_switches_the_cameras_functions() -> None:
    camera = dart_usb()
    set_up(camera, role("software"), exposure_auto=True, gain_auto=True, white_balance_auto=True)
    assert camera.values["ExposureAuto"] == "Continuous"
    assert camera.values["GainAuto"] == "Continuous"
    assert camera.values["BalanceWhiteAuto"] == "Continuous"
    assert not camera.settings_of("ExposureTime", "Gain", "BalanceRatio")
    with pytest.raises(ConfigurationError, match="ExposureAuto is on"):
        genicam_settings.change(camera, "exposure_s", 0.001)


def test_what_a_camera_lacks_is_refused_by_name() -> None:
    camera = dart_usb()
    with pytest.raises(ConfigurationError, match="the camera has no BinningHorizontal"):
        set_up(camera, role("software"), binning=2)
    del camera.values["GainAuto"]
    with pytest.raises(ConfigurationError, match="no GainAuto"):
        set_up(camera, role("software"), gain_auto=True)
    with pytest.raises(ConfigurationError, match=r"'Mono12' cannot be used: BayerBG8, Mono8$"):
        set_up(camera, role("software"), pixel_format="Mono12")
    with pytest.raises(ConfigurationError, match=r"ExposureTime = 2000000\.0"):
        set_up(camera, role("software"), exposure_s=2.0)


# --- trigger ----------------------------------------------------------------------------------


def test_all_triggers_are_off_in_free_run_and_the_rate_is_limited() -> None:
    camera = dart_usb(TriggerMode="On")
    set_up(camera, role("free_run"))
    assert camera.settings_of("TriggerSelector", "TriggerMode") == [
        ("TriggerSelector", "FrameBurstStart"),
        ("TriggerMode", "Off"),
        ("TriggerSelector", "FrameStart"),
        ("TriggerMode", "Off"),
    ]
    assert camera.values["AcquisitionFrameRateEnable"] is True
    assert camera.values["AcquisitionFrameRate"] == 30.0


def test_software_trigger_frees_the_rate() -> None:
    camera = dart_usb(AcquisitionFrameRateEnable=True)
    set_up(camera, role("software"))
    assert camera.values["AcquisitionFrameRateEnable"] is False
    assert (camera.values["TriggerSource"], camera.values["TriggerMode"]) == ("Software", "On")


def test_the_driving_camera_shows_its_exposure_and_the_others_listen() -> None:
    source, follower = dart_usb(), dart_usb(LineMode="Output")
    set_up(source, role("camera", is_source=True, invert_output=True))
    set_up(follower, role("camera"))
    assert source.settings_of("LineSelector", "LineMode", "LineSource", "LineInverter") == [
        ("LineSelector", "Line2"),
        ("LineMode", "Output"),
        ("LineSource", "ExposureActive"),
        ("LineInverter", True),
    ]
    assert source.values["TriggerMode"] == "Off"
    assert source.values["AcquisitionFrameRate"] == 30.0
    assert follower.settings_of("LineSelector", "LineMode") == [
        ("LineSelector", "Line1"),
        ("LineMode", "Input"),
    ]
    assert follower.values["TriggerSource"] == "Line1"
    assert follower.values["TriggerActivation"] == "RisingEdge"
    assert follower.values["TriggerMode"] == "On"


def test_an_output_without_exposure_signal_is_refused() -> None:
    camera = dart_usb()
    camera.enumerations = {**camera.enumerations, "LineSource": ("Off", "UserOutput1")}
    with pytest.raises(ConfigurationError, match="only Off, UserOutput1: use trigger mode line"):
        set_up(camera, role("camera", is_source=True))


def test_action_commands_need_matching_keys() -> None:
    camera = ace_gige()
    set_up(camera, role("action", action_device_key=0x4711, action_group_key=9))
    assert camera.values["ActionSelector"] == 1
    assert camera.values["ActionDeviceKey"] == 0x4711
    assert camera.values["ActionGroupKey"] == 9
    assert camera.values["ActionGroupMask"] == 0xFFFFFFFF
    assert (camera.values["TriggerSource"], camera.values["TriggerMode"]) == ("Action1", "On")


def test_action_commands_and_ptp_are_refused_for_usb_cameras() -> None:
    with pytest.raises(ConfigurationError, match="trigger mode action needs a GigE camera"):
        set_up(dart_usb(), role("action"))
    with pytest.raises(ConfigurationError, match="trigger mode ptp needs a GigE camera"):
        set_up(dart_usb(), role("ptp"))


def test_ptp_on_ace_gige_is_a_synchronous_free_run() -> None:
    camera = ace_gige()
    set_up(camera, role("ptp"))
    assert camera.values["GevIEEE1588"] is True
    names = [name for name, _ in camera.log if name.startswith("SyncFreeRun")]
    assert names[-2:] == ["SyncFreeRunTimerUpdate", "SyncFreeRunTimerEnable"]
    assert camera.values["SyncFreeRunTimerTriggerRateAbs"] == 30.0
    assert camera.values["SyncFreeRunTimerStartTimeLow"] == 0
    assert camera.values["SyncFreeRunTimerStartTimeHigh"] == 0
    assert camera.values["SyncFreeRunTimerEnable"] is True
    assert camera.values["TriggerMode"] == "Off"
    assert genicam_trigger.ptp_state(camera) == "Slave"
    camera.values["GevIEEE1588OffsetFromMaster"] = -120
    assert genicam_trigger.ptp_state(camera) == "Slave, -120 ns from the master"


def test_ptp_on_ace_2_is_a_periodic_signal() -> None:
    camera = ace2_gige()
    set_up(camera, role("ptp"))
    assert camera.values["PtpEnable"] is True
    assert camera.values["BslPeriodicSignalSelector"] == "PeriodicSignal1"
    assert camera.values["BslPeriodicSignalPeriod"] == pytest.approx(1e6 / 30.0)
    assert camera.values["BslPeriodicSignalDelay"] == 0.0
    assert camera.values["TriggerSource"] == "PeriodicSignal1"
    assert camera.values["TriggerMode"] == "On"
    assert genicam_trigger.ptp_state(camera) == "Master"
    assert genicam_trigger.ptp_state(dart_usb()) is None


def test_the_rate_changes_live_where_the_camera_sets_the_pace() -> None:
    free, ptp = dart_usb(), ace_gige()
    genicam_trigger.change_rate(free, 12.0, role("free_run"))
    genicam_trigger.change_rate(ptp, 12.0, role("ptp"))
    assert free.values["AcquisitionFrameRate"] == 12.0
    assert ptp.values["SyncFreeRunTimerTriggerRateAbs"] == 12.0


# --- link and clock ---------------------------------------------------------------------------


def test_the_link_is_shared_out_on_usb() -> None:
    camera = dart_usb()
    set_up(camera, role("software", cameras=4))
    assert camera.values["DeviceLinkThroughputLimitMode"] == "On"
    assert camera.values["DeviceLinkThroughputLimit"] == 50_000_000


def test_too_many_images_for_the_share_are_told_with_the_numbers() -> None:
    [warning] = set_up(dart_usb(), role("software", cameras=8))
    assert "need 37 MB/s at 30 Hz, its share of the link is 25 MB/s" in warning


def test_packets_are_spaced_on_older_gige_cameras() -> None:
    camera = ace_gige()
    set_up(camera, role("software", cameras=4), link_limit_mb_s=100.0)
    # A packet of 1500 bytes takes 60 us at 25 MB/s and 12 us on the wire: a pause of 48 us.
    assert camera.values["GevSCPD"] == pytest.approx(48e-6 * 125e6, abs=1)


def test_no_limit_leaves_the_camera_alone() -> None:
    camera = dart_usb()
    set_up(camera, role("software"), link_limit_mb_s=0.0)
    assert not camera.settings_of("DeviceLinkThroughputLimit", "DeviceLinkThroughputLimitMode")


def test_a_rate_that_the_exposure_does_not_allow_is_told() -> None:
    [warning] = set_up(dart_usb(ResultingFrameRate=20.0), role("line"))
    assert "it can take 20.0 images a second, 30 are asked" in warning


def test_ticks_and_delays_follow_the_family() -> None:
    assert genicam.tick_rate(dart_usb()) == 1e9
    assert genicam.tick_rate(ace_gige()) == 125e6
    assert genicam.delay_s(dart_usb(ExposureTime=4000.0)) == pytest.approx(0.022)
    assert genicam.delay_s(ace2_gige(ExposureTime=4000.0)) == pytest.approx(0.004)


# --- live settings ----------------------------------------------------------------------------


def test_settings_are_in_si_units_with_the_cameras_ranges() -> None:
    camera = dart_usb(ExposureTime=5000.0)
    found = genicam_settings.read(camera)
    exposure = found["exposure_s"]
    assert (exposure.value, exposure.unit) == (pytest.approx(0.005), "s")
    assert exposure.low == pytest.approx(1e-5)
    assert exposure.high == pytest.approx(0.85)
    assert found["region_width"].step == 16
    assert found["region_width"].pauses and not exposure.pauses
    assert found["pixel_format"].choices == ("Mono8", "BayerBG8")
    assert "binning" not in found
    assert set(found) >= {"white_balance_red", "white_balance_green", "white_balance_blue"}


def test_white_balance_changes_one_colour() -> None:
    camera = dart_usb()
    assert genicam_settings.change(camera, "white_balance_blue", 2.0) == 2.0
    assert camera.settings_of("BalanceRatioSelector")[0] == ("BalanceRatioSelector", "Blue")


def test_regions_snap_to_the_cameras_step() -> None:
    camera = dart_usb()
    assert genicam_settings.change(camera, "region_width", 500) == 496
